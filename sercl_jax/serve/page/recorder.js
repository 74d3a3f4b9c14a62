// The microphone -> a WAV file, uncompressed and at its own sampling rate.
import {wav} from "./sound.js";

const WHY = {
  NotAllowedError: "The browser may not use the microphone. Allow it beside the address of this page, then try again.",
  NotFoundError: "No microphone was found. Connect one, or choose a file.",
  NotReadableError: "Another program holds the microphone. Close it, then try again.",
};

// Starts; `onLevel` gets the loudest sample of each block, 0 to 1, and the seconds so far.
export async function start(onLevel) {
  if (!navigator.mediaDevices || !window.AudioWorkletNode) {
    throw new Error("This browser lets pages record only if they come by https or from this computer. "
                    + "Choose a file instead.");
  }
  let stream;
  try {
    // How loud somebody speaks is part of the emotion: the browser must not even it out.
    stream = await navigator.mediaDevices.getUserMedia({audio: {
      channelCount: 1, autoGainControl: false, echoCancellation: false, noiseSuppression: false}});
  } catch (error) {
    throw new Error(WHY[error.name] || `The microphone cannot be used (${error.message || error.name}).`);
  }
  const context = new AudioContext();
  const blocks = [];
  let count = 0;
  let node = null;
  try {
    await context.audioWorklet.addModule("worklet.js");
    node = new AudioWorkletNode(context, "samples", {numberOfOutputs: 0});
    node.port.onmessage = ({data}) => {
      blocks.push(data);
      count += data.length;
      onLevel(data.reduce((most, value) => Math.max(most, Math.abs(value)), 0), count / context.sampleRate);
    };
    context.createMediaStreamSource(stream).connect(node);
    await context.resume();
  } catch (error) {
    stream.getTracks().forEach((track) => track.stop());
    await context.close();
    throw error;
  }
  return {
    // Ends the recording and lets the microphone go.
    async stop() {
      node.port.onmessage = null;
      stream.getTracks().forEach((track) => track.stop());
      const rate = context.sampleRate;
      await context.close();
      const samples = new Float32Array(count);
      let at = 0;
      for (const block of blocks) {
        samples.set(block, at);
        at += block.length;
      }
      return wav(samples, rate);
    },
  };
}
