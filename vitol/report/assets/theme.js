// Light or dark: what the system prefers until the button is used, which is remembered where storage is allowed.

const themeButton = document.getElementById("theme");
const prefersDark = matchMedia("(prefers-color-scheme: dark)");

function stored(value) {
  try {
    if (value) localStorage.setItem("vitol-theme", value);
    return localStorage.getItem("vitol-theme");
  } catch {
    return value ?? null;
  }
}

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : prefersDark.matches;
}

function showTheme() {
  themeButton.textContent = isDark() ? "Light" : "Dark";
  themeButton.setAttribute("aria-label", `Use the ${isDark() ? "light" : "dark"} theme`);
}

const remembered = stored();
if (remembered === "dark" || remembered === "light") document.documentElement.dataset.theme = remembered;
themeButton.addEventListener("click", () => {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  stored(document.documentElement.dataset.theme);
  showTheme();
});
prefersDark.addEventListener("change", showTheme);
showTheme();
