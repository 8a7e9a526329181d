// Print what runs come to whose settings a test gives, and the sizes of their networks.
import { argv, stdin } from "node:process";
import { json } from "node:stream/consumers";

const [{ digits }, { dense, whole }, { DEFAULTS, within }] = await Promise.all(
  ["data", "runs", "settings"].map((name) => import(`${argv[2]}/${name}.mjs`)),
);
const data = await digits();
const runs = (await json(stdin)).settings.map((own) => within({ ...DEFAULTS, ...own }));
console.log(JSON.stringify(runs.map((own) => ({ ...whole(own, data), sizes: dense(own, data).sizes }))));
