// Streamlit puts an entry into the browser's history for each change of the address. Here only another page is one:
// what changes on a page replaces its address, so that Back leads from page to page.
(() => {
  const push = history.pushState.bind(history);
  let before = location.href; // the page's address before it last changed
  history.pushState = (state, unused, url) => {
    const next = new URL(url ?? location.href, location.href);
    if (next.pathname === location.pathname) {
      before = location.href;
      history.replaceState(state, unused, url);
      return;
    }
    // A button that leads to another page changes the parameters first: the page that is left keeps its own.
    if (next.search === location.search) history.replaceState(history.state, "", before);
    before = next.href;
    push(state, unused, url);
  };
})();
