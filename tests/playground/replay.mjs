// Run the playground's engine on what a test writes to the standard input, and print its checks.
import { argv, stdin } from "node:process";
import { json } from "node:stream/consumers";
import { replayed } from "./replayed.mjs";

const { run } = await import(`${argv[2]}/loop.mjs`);
console.log(replayed(run, await json(stdin)));
