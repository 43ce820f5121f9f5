// Styles that are reckoned. They are set on the element itself: the page's policy forbids style attributes in markup.

import type { Attachment } from 'svelte/attachments';

/** `{@attach css({ height: '10px' })}`; what is null is taken away. */
export function css(styles: Record<string, string | null>): Attachment<HTMLElement | SVGElement> {
  return (element) => {
    for (const [name, value] of Object.entries(styles)) element.style.setProperty(name, value);
  };
}
