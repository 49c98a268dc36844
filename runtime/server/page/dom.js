// Elements, made without ever reading text as HTML.

/** An element with properties set and children put in; strings become text. */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  Object.assign(made, properties);
  made.append(...children);
  return made;
}

/** The element of the page with that id. */
export function byId(id) {
  return document.getElementById(id);
}

/** A button that does something. */
export function button(text, act, className = "link") {
  const made = element("button", { type: "button", className, textContent: text });
  made.addEventListener("click", () => act(made));
  return made;
}
