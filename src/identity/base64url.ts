/** Base64url (RFC 4648 §5) without padding that encodes back to itself, or null. */
export function decodeBase64url(text: string): Buffer | null {
  const bytes = Buffer.from(text, 'base64url');
  return bytes.toString('base64url') === text ? bytes : null;
}
