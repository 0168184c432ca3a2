// Close codes: the table of protocol/codes.go. A test holds both against ../testdata/codes.json and comeback.json.

/** The close codes that have a name. */
export const CloseCode = {
  normal: 1000,
  going_away: 1001,
  protocol_error: 1002,
  unsupported_data: 1003,
  invalid_payload: 1007,
  policy_violation: 1008,
  message_too_big: 1009,
  internal: 1011,
  restart: 1012,
  try_again_later: 1013,
  bad_token: 4001,
  forbidden: 4003,
  kicked: 4008,
  slow_consumer: 4100,
  heartbeat_missed: 4101,
  rate_limit: 4102,
  token_expired: 4103,
} as const

/**
 * What a close code says about coming back: `never`, the same attempt would end the same way; after a `backoff`; when
 * the `hint` in the reason says; `now`.
 */
export type Comeback = 'never' | 'backoff' | 'hint' | 'now'

export function comeback(code: number): Comeback {
  const hundred = Math.floor(code / 100)
  if (code === 1000 || hundred === 40) return 'never'
  if (code === 1012 || code === 1013) return 'hint'
  return hundred === 42 ? 'now' : 'backoff'
}
