// Print the playground's digits as its engine reads them.
import { argv } from "node:process";

const { digits } = await import(`${argv[2]}/data.mjs`);
const plain = ({ inputs, targets }) => ({ inputs: [...inputs], targets: [...targets] });
const splits = Object.entries(await digits()).map(([name, split]) => [name, plain(split)]);
console.log(JSON.stringify(Object.fromEntries(splits)));
