// The certified provider of npm, on loopback, for one client; prints its address when it listens.
import { createServer } from "node:http";
import Provider from "oidc-provider";

const [, , port, clientId, clientSecret, redirectUri] = process.argv;
const issuer = `http://127.0.0.1:${port}`;
const provider = new Provider(issuer, {
  clients: [
    {
      client_id: clientId,
      client_secret: clientSecret,
      redirect_uris: [redirectUri],
      grant_types: ["authorization_code"],
      response_types: ["code"],
    },
  ],
  claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name", "groups"] },
  findAccount: (_, sub) => ({
    accountId: sub,
    claims: () => ({
      sub,
      email: `${sub}@example.com`,
      email_verified: true,
      name: sub,
      groups: ["acme-leads"],
    }),
  }),
  pkce: { required: () => true },
  cookies: { keys: ["tests-only"] },
});
createServer(provider.callback()).listen(Number(port), "127.0.0.1", () => console.log(issuer));
