// Follows a run with the npm package `ws`. After every five entries it drops the connection and comes back with the
// command `resume`. Prints each entry as a line of JSON.

import WebSocket from 'ws';

const [base, run] = process.argv.slice(2);
let after = 0;

function follow() {
    const socket = new WebSocket(`${base.replace('http', 'ws')}/api/ws`);
    const subscriptions = [{ id: 1, run, after }];
    socket.on('open', () => socket.send(JSON.stringify({ id: 7, command: 'resume', subscriptions })));
    let entries = 0;
    socket.on('message', (message) => {
        const { subscription, id, data } = JSON.parse(message);
        if (subscription !== 1 || id === undefined || socket.readyState !== WebSocket.OPEN) return;
        console.log(JSON.stringify([id, JSON.stringify(data)]));
        after = id;
        entries += 1;
        if (data.type === 'run_finished') socket.close();
        else if (entries === 5) {
            socket.terminate();
            follow();
        }
    });
}

follow();
