// What the test of the JavaScript client runs: writes a limit, makes calls until it denies, reads.
import { createClient, HeadgateError, lines } from "@headgate/client";

const [, , baseUrl, staffKey, backendKey] = process.argv;
const staff = createClient({ baseUrl, key: staffKey });
const backend = createClient({ baseUrl, key: backendKey });
const path = { params: { path: { limit_id: "js" } } };
const limit = {
  scope: { org: "acme" },
  metric: "METRIC_CALLS",
  calendar: { period: "CALENDAR_PERIOD_DAY", timeZone: "UTC" },
  cap: "1",
};

async function admit() {
  const body = { callId: crypto.randomUUID(), org: "acme", operation: "chat", inputTokenCount: "100" };
  return (await backend.POST("/v1/calls:admit", { body })).data.decision;
}

async function refusal(asked) {
  try {
    await asked;
  } catch (error) {
    if (error instanceof HeadgateError) return { status: error.status, reason: error.reason };
    throw error;
  }
  return null;
}

const made = await staff.PUT("/v1/limits/{limit_id}", { ...path, body: limit });
const admitted = await admit();
const denied = await admit();
const stale = await refusal(
  staff.PUT("/v1/limits/{limit_id}", { ...path, body: { ...limit, cap: "2" }, headers: { "If-Match": '"99999"' } }),
);
const forbidden = await refusal(backend.GET("/v1/limits"));
const query = { org: "acme" };
const watched = await backend.GET("/v1/status:watch", { params: { query }, parseAs: "stream" });
let first;
for await (const message of lines(watched.data)) {
  first = message;
  break;
}
console.log(
  JSON.stringify({
    made: made.data.limit.limitId,
    admitted: Object.keys(admitted),
    deniedBy: denied.denial.violations[0].limitId,
    stale,
    forbidden,
    watched: Object.keys(first.status).length > 0,
  }),
);
process.exit(0);
