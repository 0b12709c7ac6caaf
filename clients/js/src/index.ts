/** A client of Headgate's HTTP API. Paths, fields and answers are typed from the OpenAPI document. */

import createFetch, { type Client, type Middleware } from "openapi-fetch";

import type { components, paths } from "./api.js";

export type { components, paths } from "./api.js";

/** A message of the API by its full name, such as `Message<"headgate.api.common.v1.Limit">`. */
export type Message<Name extends keyof components["schemas"]> = components["schemas"][Name];
export type Problem = Message<"Problem">;

/** What the API refused, as it said it; branch on `reason`. */
export class HeadgateError extends Error {
  readonly status: number;
  readonly reason: string;
  readonly problem: Problem;
  /** Seconds after which a repeat may do better. Undefined: nobody knows. */
  readonly retryAfterSeconds: number | undefined;

  constructor(problem: Problem, retryAfterSeconds?: number) {
    super(`${problem.reason}: ${problem.detail}`);
    this.name = "HeadgateError";
    this.status = problem.status;
    this.reason = problem.reason;
    this.problem = problem;
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

export interface Options {
  /** Where the HTTP face is, such as "http://127.0.0.1:7480". */
  baseUrl: string;
  /** An API key, or the token of a session. */
  key: string;
  /** In place of the platform's own. */
  fetch?: (request: Request) => Promise<Response>;
}

/** Returns a client: `client.GET("/v1/limits")` and so on. What fails is thrown as HeadgateError. */
export function createClient({ baseUrl, key, fetch }: Options): Client<paths> {
  const client = createFetch<paths>({
    baseUrl,
    headers: { authorization: `Bearer ${key}` },
    ...(fetch && { fetch }),
  });
  client.use(failures);
  return client;
}

/** Yields the messages of a stream that was asked for with `parseAs: "stream"`. */
export async function* lines<T>(body: ReadableStream<Uint8Array> | null | undefined): AsyncGenerator<T> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const part of body ?? []) {
    const found = (rest + decoder.decode(part, { stream: true })).split("\n");
    rest = found.pop() ?? "";
    for (const line of found.filter(Boolean)) yield read<T>(line);
  }
  if (rest) yield read<T>(rest);
}

const failures: Middleware = {
  async onResponse({ response }) {
    if (response.ok || response.status === 304) return;
    throw await describe(response);
  },
};

function read<T>(line: string): T {
  const message = JSON.parse(line) as T & { error?: Problem };
  // How a stream ends that fails after it has begun.
  if (message.error?.reason) throw new HeadgateError(message.error);
  return message;
}

async function describe(response: Response): Promise<HeadgateError> {
  const after = response.headers.get("retry-after");
  const seconds = after === null ? undefined : Number(after);
  if (response.headers.get("content-type")?.startsWith("application/problem+json")) {
    return new HeadgateError((await response.json()) as Problem, seconds);
  }
  const { status, statusText } = response;
  const detail = "the answer does not come from Headgate";
  return new HeadgateError({ type: "about:blank", title: statusText, status, detail, reason: "UNKNOWN" }, seconds);
}
