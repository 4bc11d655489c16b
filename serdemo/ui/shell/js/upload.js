/* What the tabs' scripts send beside their ordinary calls: files, and a word when the page is left. */

// Under a name of its own, so that two visitors who send the same bytes never share a file on the
// server. Pages that are not on https have no randomUUID.
const sent = async (file) => {
  const ending = file.name.includes(".") ? file.name.slice(file.name.lastIndexOf(".")) : "";
  const name = crypto.getRandomValues(new Uint32Array(4)).join("-") + ending;
  try {
    return { path: (await upload(new File([file], name, { type: file.type }))).path, name: file.name };
  } catch {
    return { name: file.name };
  }
};

// Leaving the page cuts ordinary calls off; this one, of a tab's component, still goes out.
const beacon = (tab, data) => {
  const { root, api_prefix, components } = window.gradio_config;
  const own = components.find((component) => component.props.elem_id === tab);
  const body = JSON.stringify({ data, component_id: own.id, fn_name: tab, session_hash: "" });
  const kind = new Blob([body], { type: "application/json" });
  navigator.sendBeacon(`${root}${api_prefix || ""}/component_server/`, kind);
};
