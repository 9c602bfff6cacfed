// Lets `node --import secmx/typescript` run TypeScript where Node.js itself does not yet (before 22.18): amaro, which the build of a policy
// needs anyway, replaces types by spaces, so that lines stay.
import { register } from "node:module";
import { isMainThread } from "node:worker_threads";

if (isMainThread && !process.features.typescript) register(import.meta.url);

/** Called by Node.js for each module. */
export async function load(url, context, next) {
  if (!url.endsWith(".ts")) return next(url, context);
  const { default: amaro } = await import("amaro").catch(() => {
    throw new Error("TypeScript needs Node.js 22.18 or newer, or amaro, which `secmx policy build` says how to install");
  });
  const { source } = await next(url, { ...context, format: "module" });
  return { format: "module", shortCircuit: true, source: amaro.transformSync(String(source), { mode: "strip-only" }).code };
}
