// Measures models in onnxruntime-web in interleaved runs; started by web.py.
// Usage: node web_runner.mjs REQUEST.json RESULT.json
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";

const ARRAYS = {
  bool: Uint8Array, float32: Float32Array, float64: Float64Array, int8: Int8Array,
  int16: Int16Array, int32: Int32Array, int64: BigInt64Array, uint8: Uint8Array,
  uint16: Uint16Array, uint32: Uint32Array, uint64: BigUint64Array,
};

function findLibrary(folders) {
  for (const folder of folders) {
    // Inside the package, its own name resolves to it; elsewhere, node_modules is searched.
    try {
      return createRequire(join(folder, "from.js")).resolve("onnxruntime-web/wasm");
    } catch { /* try the next folder */ }
  }
  return null;
}

function readTensor(ort, folder, { dtype, dims, file }) {
  const bytes = readFileSync(join(folder, file));
  const copy = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
  return new ort.Tensor(dtype, new ARRAYS[dtype](copy), dims);
}

async function once(model) {
  const start = performance.now();
  for (let i = 0; i < model.repeats; i++) await model.session.run(model.feeds);
  return (performance.now() - start) / model.repeats;
}

async function load(ort, folder, entry) {
  const bytes = new Uint8Array(readFileSync(entry.path));
  const start = performance.now();
  const session = await ort.InferenceSession.create(bytes, { logSeverityLevel: 4 });
  const loadMs = performance.now() - start;
  const feeds = {};
  for (const feed of entry.feeds) feeds[feed.name] = readTensor(ort, folder, feed);
  return { session, feeds, loadMs, repeats: 1, samples: [] };
}

async function warmUp(model, request) {
  let fastest = Infinity;
  for (let i = 0; i < Math.max(1, request.warmup); i++) fastest = Math.min(fastest, await once(model));
  model.repeats = Math.max(1, Math.ceil(request.min_sample_ms / Math.max(fastest, 1e-6)));
  return fastest * model.repeats;
}

async function writeOutputs(folder, model, index) {
  const outputs = await model.session.run(model.feeds);
  return model.session.outputNames.map((name, number) => {
    const { type, dims, data } = outputs[name];
    const file = `output-${index}-${number}.bin`;
    writeFileSync(join(folder, file), Buffer.from(data.buffer, data.byteOffset, data.byteLength));
    return { name, dtype: type, dims: [...dims], file };
  });
}

async function main(requestPath) {
  const request = JSON.parse(readFileSync(requestPath, "utf-8"));
  const folder = dirname(requestPath);
  const library = findLibrary(request.search);
  if (library === null) return { missing: true };
  const imported = await import(pathToFileURL(library));
  const ort = imported.default ?? imported;
  ort.env.wasm.numThreads = request.threads;
  ort.env.logLevel = "fatal";
  const models = [];
  for (const entry of request.models) models.push(await load(ort, folder, entry));
  let roundMs = 0;
  for (const model of models) roundMs += await warmUp(model, request);
  const wanted = Math.floor((request.budget_ms * models.length) / roundMs);
  const runs = request.runs ?? Math.min(request.max_runs, Math.max(request.min_runs, wanted));
  const order = [...models];
  for (let run = 0; run < runs; run++) {
    for (const model of order) model.samples.push(await once(model));
    order.reverse();
  }
  const version = ort.env.versions?.web ?? ort.env.versions?.common ?? "unknown";
  const results = [];
  for (const [index, model] of models.entries()) {
    const outputs = await writeOutputs(folder, model, index);
    results.push({ load_ms: model.loadMs, samples_ms: model.samples, outputs });
  }
  return { version, node: process.version, models: results };
}

const [requestPath, resultPath] = process.argv.slice(2);
main(requestPath)
  .catch((error) => ({ error: String(error?.message ?? error) }))
  .then((result) => {
    writeFileSync(resultPath, JSON.stringify(result));
    process.exit(0);
  });
