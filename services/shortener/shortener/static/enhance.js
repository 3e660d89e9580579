// What the page gains with JavaScript; without it everything works the same, by hand.
"use strict";

const status = document.getElementById("copy-status");

for (const button of document.querySelectorAll("button[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const copied = await copy(button.dataset.copy);
    button.textContent = copied ? "Copied" : "Press Ctrl+C";
    status.textContent = copied ? "The short link was copied." : "The short link is selected; press Ctrl+C to copy it.";
    button.classList.toggle("done", copied);
  });
}

// The clipboard interface exists on https and localhost only; elsewhere the text is selected for the visitor.
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    getSelection().selectAllChildren(document.getElementById("short-link"));
    return false;
  }
}

// A second click must not make a second link.
for (const form of document.querySelectorAll("form")) {
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "yes";
  });
}
addEventListener("pageshow", () => document.querySelectorAll("form").forEach((form) => delete form.dataset.sent));
