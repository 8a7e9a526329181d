// Print what drawings come to as pixels, and what a dense network, trained on the digits, reads.
import { argv, stdin } from "node:process";
import { json } from "node:stream/consumers";

const [{ digits, normalised }, { dense }, { DEFAULTS }, { counted }, { probabilities }] =
  await Promise.all(
    ["data", "runs", "settings", "drawing", "reader"].map((name) => import(`${argv[2]}/${name}.mjs`)),
  );
const { drawings } = await json(stdin), data = await digits();
const network = dense({ ...DEFAULTS, epochs: 3 }, data);
const said = drawings.map((strokes) => {
  const pixels = counted(strokes);
  return { pixels: [...pixels], shares: probabilities(network, normalised(pixels)) };
});
const { inputs, pixels } = data.test;
const same = [...normalised(pixels)].every((value, i) => value === inputs[i]);
console.log(JSON.stringify({ said, same, network, input: [...normalised(said[0].pixels)] }, (_, value) =>
  ArrayBuffer.isView(value) ? [...value] : value,
));
