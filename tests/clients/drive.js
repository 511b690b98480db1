// Drives a debug adapter with Microsoft's test client.
//
// Usage: node drive.js PYTHON ADAPTER PROGRAM SCENARIO; exits with 0 when all was as it should be.

'use strict';

const assert = require('assert');
const { DebugClient } = require('@vscode/debugadapter-testsupport');

const [python, adapter, program, scenario] = process.argv.slice(2);
const client = new DebugClient(python, adapter, 'python', { env: process.env }, true);
client.defaultTimeout = 60000;

const launch = { type: 'python', request: 'launch', program, console: 'internalConsole' };
const INSIDE = 4;

function output(category) {
    let text = '';
    client.on('output', event => {
        if (event.body.category === category) {
            text += event.body.output;
        }
    });
    return () => text;
}

async function stop(reason, line) {
    const trace = await client.assertStoppedLocation(reason, { path: program, line });
    return trace.body.stackFrames;
}

async function configured(configure) {
    const initialized = client.waitForEvent('initialized').then(async () => {
        await configure();
        await client.configurationDoneRequest();
    });
    await Promise.all([initialized, client.launch(launch)]);
}

const scenarios = {
    // A breakpoint, what is seen there, a step, a value that is changed, and the program's end.
    async breakpoint() {
        const told = output('stdout');
        const verified = process.env.VERIFIED === '1';
        await client.hitBreakpoint(launch, { path: program, line: INSIDE, verified });
        const threads = (await client.threadsRequest()).body.threads;
        assert.strictEqual(threads.length, 1);
        const threadId = threads[0].id;
        let frames = (await client.stackTraceRequest({ threadId })).body.stackFrames;
        assert.deepStrictEqual(frames.slice(0, 2).map(frame => frame.name), ['add', 'main']);
        const scopes = (await client.scopesRequest({ frameId: frames[0].id })).body.scopes;
        const { variablesReference } = scopes[0];
        const variables = (await client.variablesRequest({ variablesReference })).body.variables;
        const found = variables.filter(one => ['a', 'b'].includes(one.name));
        assert.deepStrictEqual(found.map(one => [one.name, one.value]), [['a', '1'], ['b', '2']]);
        const asked = { expression: 'a + b', frameId: frames[0].id, context: 'watch' };
        assert.strictEqual((await client.evaluateRequest(asked)).body.result, '3');
        await client.setVariableRequest({ variablesReference, name: 'b', value: '41' });
        await Promise.all([client.nextRequest({ threadId }), stop('step', INSIDE + 1)]);
        await Promise.all([client.stepOutRequest({ threadId }), client.waitForEvent('stopped')]);
        frames = (await client.stackTraceRequest({ threadId })).body.stackFrames;
        assert.strictEqual(frames[0].name, 'main');
        await Promise.all([
            client.continueRequest({ threadId }),
            client.waitForEvent('exited').then(event => assert.strictEqual(event.body.exitCode, 0)),
            client.waitForEvent('terminated'),
        ]);
        assert.strictEqual(told(), '42\n');
    },

    // A condition, a message, and an exception that nobody handles.
    async conditions() {
        const told = output('console');
        const configuring = configured(async () => {
            const breakpoints = [
                { line: INSIDE, logMessage: 'adds {a}' },
                { line: INSIDE + 1, condition: 'b == 2' },
            ];
            await client.setBreakpointsRequest({ source: { path: program }, breakpoints });
            await client.setExceptionBreakpointsRequest({ filters: ['uncaught'] });
        });
        // The program may stop in the same breath as it is said to be configured.
        const [frames] = await Promise.all([stop('breakpoint', INSIDE + 1), configuring]);
        assert.strictEqual(frames[0].name, 'add');
        const threadId = (await client.threadsRequest()).body.threads[0].id;
        await Promise.all([
            client.continueRequest({ threadId }),
            client.waitForEvent('stopped').then(async event => {
                assert.strictEqual(event.body.reason, 'exception');
                const about = (await client.exceptionInfoRequest({ threadId })).body;
                assert.strictEqual(about.exceptionId, 'ZeroDivisionError');
            }),
        ]);
        await Promise.all([
            client.continueRequest({ threadId }),
            client.waitForEvent('exited').then(event => assert.strictEqual(event.body.exitCode, 1)),
            client.waitForEvent('terminated'),
        ]);
        assert.match(told(), /adds 1\n[^]*adds 2\n/);
    },

    // The session ends in the middle; whoever runs this looks for what is left.
    async stopping() {
        await client.hitBreakpoint(launch, { path: program, line: INSIDE, verified: false });
    },
};

(async () => {
    await client.start();
    await scenarios[scenario]();
    await client.stop();
})().then(() => process.exit(0), error => {
    console.error(error);
    process.exit(1);
});
