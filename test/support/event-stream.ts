/** What a client makes of a `text/event-stream`: the parser of the standard, over the whole text. */
export interface StreamEvent {
  readonly data: string;
  readonly type: string;
  readonly id: string;
}

/**
 * The events of HTML Living Standard §9.2.6. `lenient` counts one that no blank line ends, which some
 * clients do.
 */
export function eventsOf(bytes: Buffer, lenient = false): StreamEvent[] {
  const text = new TextDecoder('utf-8').decode(bytes);
  const events: StreamEvent[] = [];
  let data: string[] = [];
  let type = '';
  let id = '';
  const dispatch = (): void => {
    if (data.length > 0) events.push({ data: data.join('\n'), type, id });
    data = [];
    type = '';
  };
  const lines = text.split(/\r\n|\r|\n/u);
  const rest = lines.pop() ?? '';
  for (const line of lenient ? [...lines, rest] : lines) {
    const [, field = '', value = ''] = /^([^:]*)(?:: ?(.*))?$/su.exec(line) ?? [];
    if (line === '') dispatch();
    else if (field === 'data') data.push(value);
    else if (field === 'event') type = value;
    else if (field === 'id') id = value;
  }
  if (lenient) dispatch();
  return events;
}
