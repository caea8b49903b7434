// The menu of pages on a phone, which Streamlit leaves open over the page that was chosen. Where its
// names change, this has no effect, and no harm.

const MENU = "[data-testid=stSidebar]";
const CLOSE = "[data-testid=stSidebarCollapseButton] button";
const NARROW = "(max-width: 768px)";

// Close the menu after each choice; returns what stops that.
export function closeAfterChoice() {
  const close = ({ target }) => {
    if (!target.closest?.(`${MENU} a`) || !matchMedia(NARROW).matches) return;
    document.querySelector(CLOSE)?.click();
  };
  document.addEventListener("click", close);
  return () => document.removeEventListener("click", close);
}
