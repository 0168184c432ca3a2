export { NotificationClient } from './NotificationClient.js'
export type { ClientError, ClientEvents, ConnectionState, ConnectionStatus } from './NotificationClient.js'
export { UnauthorizedError } from './options.js'
export type { ClientOptions, Parse, Token, TokenContext, Url } from './options.js'
export type { WebSocketConstructor, WebSocketLike } from './Connection.js'
export { CloseCode, comeback } from './codes.js'
export type { Comeback } from './codes.js'
export type {
  AuthenticatedMessage, Command, ConnectedMessage, ErrorCode, ErrorMessage, GapMessage, GapReason, NotificationMessage,
  PongMessage, Position, ServerMessage, SubscribedMessage, UnsubscribedMessage,
} from './messages.js'
