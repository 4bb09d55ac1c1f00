// Without this script no decision can be given, and nothing is shown of it.
const forms = [...document.querySelectorAll("fieldset.decision")];
const save = document.querySelector("#save-decisions");
const told = document.querySelector("#decisions-told");
const chosen = form => form.querySelector("input[type=radio]:checked");
const cell = text => text.replace(/\s+/g, " ").trim() || "n/a";
function count() {
  const given = forms.filter(chosen).length;
  told.textContent = given + " of " + forms.length + " images decided.";
  save.disabled = !given;
}
for (const form of forms) {
  form.hidden = false;
  form.addEventListener("input", () => {
    if (chosen(form)) form.dataset.decided = new Date().toISOString().slice(0, 19) + "Z";
    count();
  });
}
if (forms.length) {
  for (const element of document.querySelectorAll(".needs-script")) element.hidden = false;
  count();
  save.addEventListener("click", () => {
    const rows = [["scan", "target_site", "decision", "remark", "decided"]];
    for (const form of forms.filter(chosen)) {
      rows.push([form.dataset.scan, form.dataset.target, chosen(form).value,
        cell(form.querySelector("input[type=text]").value), form.dataset.decided || "n/a"]);
    }
    const link = document.createElement("a");
    const text = rows.map(row => row.join("\t")).join("\n") + "\n";
    link.href = "data:text/tab-separated-values;charset=utf-8," + encodeURIComponent(text);
    link.download = save.dataset.file;
    link.click();
  });
}
