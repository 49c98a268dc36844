// Before the first paint, so that the page does not flash in the other colours.
try {
  const theme = JSON.parse(localStorage.getItem("exaone4-gguf.settings") ?? "{}").theme;
  if (theme) document.documentElement.dataset.theme = theme;
} catch {
  // No storage, or nothing of ours in it: the system's colours.
}
