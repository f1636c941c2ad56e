// On a phone the list of pages lies over the page. Streamlit leaves it open when somebody has chosen one, and the page
// that was chosen cannot be seen: here it closes.
addEventListener("click", (event) => {
  if (!(event.target instanceof Element) || !event.target.closest('[data-testid="stSidebarNavLink"]')) return;
  setTimeout(() => document.querySelector('[data-testid="stSidebarCollapseButton"] button')?.click());
}, { capture: true });
