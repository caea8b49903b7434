// Stands a component up where there is no Streamlit: in a file, or in a notebook's cell. KINDS is
// written above the joined modules by viz/components/bundle.py: the HTML of each component, its
// style sheet, and the function that mounts it.

// Mount a component inside `place`. `ask` answers its questions (see answers.js); `send` takes what
// it would tell Python: a name and a value.
export function stand(place, kind, data, ask, send = () => {}) {
  const { html, css, mount } = KINDS[kind];
  const root = place.shadowRoot ?? place.attachShadow({ mode: "open" });
  const style = new CSSStyleSheet();
  style.replaceSync(css);
  root.adoptedStyleSheets = [style];
  root.replaceChildren(...new DOMParser().parseFromString(html, "text/html").body.childNodes);
  const page = { parentElement: root, data, ask, setStateValue: send, setTriggerValue: send };
  const close = mount(page);
  return { close, redraw: () => mount(page) };
}
