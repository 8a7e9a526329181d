// Workers made of a text, from a blob, so that they start from a folder as well.

/** Return a worker that answers messages by calling back; `stop` ends it. */
export function worker(program, answer, fail) {
  const address = URL.createObjectURL(new Blob([program], { type: "text/javascript" }));
  const own = new Worker(address);
  own.onmessage = ({ data }) => (data.error ? fail(data.error) : answer(data));
  own.onerror = (event) => fail(event.message || "the worker did not start");
  return { ask: (message) => own.postMessage(message), stop: () => own.terminate() };
}

/** Return a queue of whole runs over some workers, which start with the first job. */
export function pool(program, size, fail) {
  let workers = [], jobs = [];
  const waiting = new Map(), known = new Map();
  let last = 0;

  /** Return the place of the next job: of a seed that this worker has, for what it has trained. */
  function choose(own) {
    const others = new Set(workers.flatMap((each) => (each === own ? [] : [...each.seeds])));
    const wanted = [({ knobs }) => own.seeds.has(knobs.seed), ({ knobs }) => !others.has(knobs.seed), () => true];
    return wanted.map((test) => jobs.findIndex(test)).find((place) => place >= 0);
  }

  function feed(own) {
    const job = jobs.splice(choose(own) ?? jobs.length, 1)[0];
    own.job = job ?? null;
    if (!job) return;
    own.seeds.add(job.knobs.seed);
    const id = ++last;
    waiting.set(id, job);
    own.ask({ id, knobs: job.knobs, whole: true });
  }

  function start() {
    for (let i = workers.length; i < size; i++) {
      const own = worker(program, ({ id, summary }) => {
        const job = waiting.get(id);
        waiting.delete(id);
        known.set(JSON.stringify(job.knobs), summary);
        feed(own);
        job.answer(summary);
      }, fail);
      own.seeds = new Set();
      workers.push(own);
    }
    for (const own of workers) if (!own.job) feed(own);
  }

  return {
    /** Run with these knobs, unless they were run before, and call back with the summary. */
    add(knobs, answer, first = false) {
      const key = JSON.stringify(knobs);
      if (known.has(key)) return answer(known.get(key));
      jobs[first ? "unshift" : "push"]({ knobs, answer });
      start();
    },
    /** Forget what waits, and end what runs. */
    clear() {
      for (const own of workers) own.stop();
      [workers, jobs] = [[], []];
      waiting.clear();
    },
  };
}
