// Runs an engine's module in JavaScriptCore's shell, which has no WASI: the one function that an engine needs is here.
//
//   jsc jsc.js -- PROGRAM          prints the story, line by line (the shell's `print` ends each with a line feed)
//   jsc jsc.js -- PROGRAM hex      prints every piece as it comes, in hexadecimal, on a line of its own
const [program, hex] = arguments;
let line = "";

function show(bytes) {
  if (hex) return print(Array.from(bytes, byte => byte.toString(16).padStart(2, "0")).join(""));
  const lines = (line + String.fromCharCode(...bytes)).split("\n");
  line = lines.pop();
  for (const complete of lines) print(text(complete));
}

function text(bytes) {
  try {
    return decodeURIComponent(escape(bytes));  // UTF-8
  } catch {
    return bytes;
  }
}

const instance = new WebAssembly.Instance(new WebAssembly.Module(readFile(program, "binary")), {
  wasi_snapshot_preview1: {
    fd_write(file, vectors, count, written) {
      const { buffer } = instance.exports.memory, view = new DataView(buffer);
      let all = 0;
      for (let at = vectors; at < vectors + 8 * count; at += 8) {
        const length = view.getUint32(at + 4, true);
        show(new Uint8Array(buffer, view.getUint32(at, true), length));
        all += length;
      }
      view.setUint32(written, all, true);
      return 0;
    },
  },
});
instance.exports._start();
if (line) print(text(line));
