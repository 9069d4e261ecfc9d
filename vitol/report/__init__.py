"""The explorer: tables, plots and a gallery of maps as one HTML file that asks nothing of the network.

`contents` says what stands on the page, `page` puts it together. `steps` finds the boxes of a map at every threshold
with the scorer itself; `packing` makes bytes of them, which the scripts in `assets/` decode and draw.
"""
