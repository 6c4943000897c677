/** Contract §7: what an agent may be called. Issuers of tokens are named in the same way. */
export const agentId = /^[a-z0-9][a-z0-9._-]{0,62}$/u;

/** True for a text that could be an agent's id. */
export function isAgentId(text: string): boolean {
  return agentId.test(text);
}
