// Streamlit puts an entry into the browser's history for each change of the address. Here only another page is one:
// what changes on a page replaces its address, so that Back leads from page to page.
(() => {
  const push = history.pushState.bind(history);
  // The parameters of the next page come before its path: the page that is left keeps the address that it had when
  // somebody last touched it.
  let touched = location.href;
  for (const event of ["pointerdown", "keydown", "click"])
    addEventListener(event, () => { touched = location.href; }, { capture: true });
  history.pushState = (state, unused, url) => {
    const next = new URL(url ?? location.href, location.href);
    if (next.pathname === location.pathname) {
      history.replaceState(state, unused, url);
      return;
    }
    if (new URL(touched).pathname === location.pathname) history.replaceState(history.state, "", touched);
    push(state, unused, url);
  };
})();
