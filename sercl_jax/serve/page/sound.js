// Audio in the browser: any file it can play -> samples, and samples -> a WAV file.

const RATE = 16000; // Hz, what models hear

// The samples of a file, one channel, Float32Array at RATE; null if this browser cannot read it.
export async function decode(blob) {
  try {
    const context = new OfflineAudioContext(1, 1, RATE);
    const sound = await context.decodeAudioData(await blob.arrayBuffer());
    const samples = new Float32Array(sound.length);
    for (let channel = 0; channel < sound.numberOfChannels; channel += 1) {
      const values = sound.getChannelData(channel);
      for (let i = 0; i < samples.length; i += 1) samples[i] += values[i] / sound.numberOfChannels;
    }
    return samples;
  } catch {
    return null;
  }
}

// Samples in [-1, 1] as a WAV file of one channel and 16 bits.
export function wav(samples, rate = RATE) {
  const bytes = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const text = (at, word) => [...word].forEach((letter, i) => bytes.setUint8(at + i, letter.charCodeAt(0)));
  text(0, "RIFF");
  bytes.setUint32(4, 36 + 2 * samples.length, true);
  text(8, "WAVEfmt ");
  bytes.setUint32(16, 16, true);
  bytes.setUint16(20, 1, true); // PCM
  bytes.setUint16(22, 1, true); // channels
  bytes.setUint32(24, rate, true);
  bytes.setUint32(28, 2 * rate, true);
  bytes.setUint16(32, 2, true);
  bytes.setUint16(34, 16, true);
  text(36, "data");
  bytes.setUint32(40, 2 * samples.length, true);
  samples.forEach((value, i) => {
    bytes.setInt16(44 + 2 * i, Math.max(-32768, Math.min(32767, Math.round(value * 32768))), true);
  });
  return new Blob([bytes.buffer], {type: "audio/wav"});
}
