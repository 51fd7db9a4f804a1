/* A worker that starts when it is needed first, and that also works from a disk.
 *
 * Made from iframe-worker 1.0.4 (npm), see iframe-worker.LICENSE.txt beside this file. Browsers start no
 * worker for a page opened from a disk; an iframe without an address stands in for it. Changed here: its
 * scripts are no inline ones, so that a strict Content-Security-Policy holds in it too; and where there
 * are workers, the browser's own is started, but only with the first message, so that who does not
 * search loads nothing for it.
 */
"use strict";
(() => {
  const Native = window.Worker;

  function script(frame, url) {
    return new Promise((resolve, reject) => {
      const element = frame.document.createElement("script");
      element.src = url;
      element.onload = resolve;
      element.onerror = () => reject(new Error(`Cannot load ${url}`));
      frame.document.body.appendChild(element);
    });
  }

  /* In the iframe, the two functions that make it look like a worker from inside. */
  function frame(worker, url) {
    const iframe = document.createElement("iframe");
    iframe.hidden = true;
    iframe.title = "Search"; // nobody sees or hears it; checkers ask for a name
    document.body.appendChild(iframe);
    const inside = iframe.contentWindow;
    inside.document.write("<!doctype html><title>Search</title><body>"); // keeps Firefox from
    inside.document.close(); // putting another empty document in its place later
    inside.postMessage = data => worker.dispatchEvent(new MessageEvent("message", {data}));
    inside.importScripts = (...urls) =>
      urls.reduce((before, next) => before.then(() => script(inside, next)), Promise.resolve());
    const ready = script(inside, url);
    return data => ready.then(() =>
      inside.dispatchEvent(new MessageEvent("message", {data: structuredClone(data)})));
  }

  function thread(worker, url) {
    const native = new Native(url);
    native.onmessage = ({data}) => worker.dispatchEvent(new MessageEvent("message", {data}));
    return data => native.postMessage(data);
  }

  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.url = url;
      this.addEventListener("message", event => this.onmessage?.(event)); // so Zensical's script listens
    }

    terminate() {} // it ends with the page

    postMessage(data) {
      this.send ??= (location.protocol === "file:" ? frame : thread)(this, this.url);
      this.send(data);
    }
  };
  if (location.protocol === "file:") window.IFrameWorker = window.Worker; // the search asks for it
})();
