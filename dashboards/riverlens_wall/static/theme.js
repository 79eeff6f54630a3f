// Dark or light: the system's choice, unless somebody chose here.

const CHOICES = ["automatic", "light", "dark"];
const NAME = "riverlens-wall-theme";

function stored() {
  try {
    const choice = localStorage.getItem(NAME);
    return CHOICES.includes(choice) ? choice : "automatic";
  } catch {
    return "automatic"; // storage is switched off: the choice lasts until the page is closed
  }
}

export function startTheme(button) {
  let choice = stored();
  const apply = () => {
    if (choice === "automatic") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = choice;
    button.textContent = `Theme: ${choice}`;
  };
  button.addEventListener("click", () => {
    choice = CHOICES[(CHOICES.indexOf(choice) + 1) % CHOICES.length];
    try {
      localStorage.setItem(NAME, choice);
    } catch {
      // as above
    }
    apply();
  });
  apply();
}
