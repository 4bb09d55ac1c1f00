"""The script of the before-after control, run against the few parts of a page that it touches."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bids_harmony.reports import subject

SCRIPT = Path(subject.__file__).with_name("templates") / "compare.js"
PAGE = """
class Element {
  constructor() {
    this.style = { values: {}, setProperty(name, value) { this.values[name] = value; } };
    this.classList = { names: [], add(name) { this.names.push(name); } };
    this.listeners = {}; this.attributes = {}; this.children = []; this.earlier = [];
  }
  setAttribute(name, value) { this.attributes[name] = value; }
  addEventListener(name, listener) { this.listeners[name] = listener; }
  append(...elements) { this.children.push(...elements); }
  before(element) { this.earlier.push(element); }
}
const pair = new Element(), figure = new Element();
figure.querySelector = (path) => (path === ".pair" ? pair : null);
globalThis.document = {
  querySelectorAll: (path) => (path === "figure.compare" ? [figure] : []),
  createElement: () => new Element(),
};
"""
USE = """
const [slider, flip] = pair.earlier[0].children;
const seen = [pair.style.values["--cut"]];
slider.value = 20; slider.listeners.input(); seen.push(pair.style.values["--cut"]);
for (const turn of [1, 2]) { flip.listeners.click(); seen.push(pair.style.values["--cut"]); }
const label = slider.attributes["aria-label"];
console.log(JSON.stringify({ seen, classes: figure.classList.names, label, type: slider.type }));
"""


def test_slider_and_flip_move_the_cut(tmp_path):
    deno = shutil.which("deno", path=Path(sys.executable).parent) or shutil.which("deno")
    if deno is None:
        pytest.skip("deno is not installed")
    program = tmp_path / "page.js"
    program.write_text(f"{PAGE}\n{{\n{SCRIPT.read_text()}\n}}\n{USE}")
    run = subprocess.run([deno, "run", "--no-lock", str(program)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    assert found["seen"] == ["50%", "20%", "100%", "0%"]
    assert found["classes"] == ["laid"] and found["type"] == "range" and found["label"]
