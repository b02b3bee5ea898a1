// Follows a run with the npm package `eventsource`, which comes back by itself with `Last-Event-ID` whenever the
// server ends a connection. Prints each entry as a line of JSON.

import { EventSource } from 'eventsource';

const [base, run] = process.argv.slice(2);
const source = new EventSource(`${base}/api/runs/events?run=${run}`);
source.onmessage = ({ data, lastEventId }) => {
    const { type } = JSON.parse(data);
    // It repeats the last identifier on frames that have none.
    if (type === 'ping' || type === 'going_away') return;
    console.log(JSON.stringify([Number(lastEventId), data]));
    if (type === 'run_finished') source.close();
};
