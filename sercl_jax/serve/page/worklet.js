// Runs beside the page, on the browser's audio thread: hands every block of the microphone's samples over.
registerProcessor("samples", class extends AudioWorkletProcessor {
  process([input]) {
    if (input.length) this.port.postMessage(input[0].slice());
    return true;
  }
});
