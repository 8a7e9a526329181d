// Print what runs come to that share a memory, beside the same ones alone, and what addresses hold.
import { argv, stdin } from "node:process";
import { json } from "node:stream/consumers";

const [{ digits }, { whole }, own, { remembering }] = await Promise.all(
  ["data", "runs", "settings", "memory"].map((name) => import(`${argv[2]}/${name}.mjs`)),
);
const { DEFAULTS, fromHash, hasNumber, looks, toHash, within } = own;
const { settings, bytes } = await json(stdin), data = await digits();
const memory = remembering(bytes ?? undefined);
const found = settings.map((each) => {
  const knobs = within({ ...DEFAULTS, ...each }), hash = toHash(knobs);
  const about = { knobs: { ...knobs }, hash, again: fromHash(hash), hasNumber: hasNumber(knobs), looks: looks(knobs) };
  if (each.timetable) Object.assign(knobs, { rule: "timetable", timetable: each.timetable });
  const before = process.cpuUsage().user, shared = whole(knobs, data, memory);
  const middle = process.cpuUsage().user, alone = whole(knobs, data);
  const spent = [middle - before, process.cpuUsage().user - middle];
  return { shared, alone, spent, ...about };
});
console.log(JSON.stringify(found));
