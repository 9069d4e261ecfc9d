"""CAM: class activation mapping. Zhou et al., CVPR 2016, "Learning deep features for discriminative localization"."""

from __future__ import annotations

from vitol.cams.skeleton import Localizer


class CAM(Localizer):
    """The shared skeleton as it is, their Eqs. 1-2: M_c = sum_d w_dc f_d, and the score its mean.

    Hyperparameters: none.
    """
