// Brings a file to the gateway and says how far it is: `fetch` cannot tell that of what it sends.

import { ApiError, headersFor } from '../lib/api';
import type { Problem } from '../lib/types';

/** Longest image that the gateway takes, in bytes. */
export const IMAGE_MAX = 16 * 1_024 * 1_024;
/** Longest manifest. */
export const MANIFEST_MAX = 64 * 1_024;

/** Sends a file as the body. `told` is given shares of 0 to 1. Throws `ApiError`. */
export function upload<T>(method: 'POST' | 'PUT', url: string, file: Blob, told: (share: number) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open(method, url);
    request.responseType = 'text';
    request.setRequestHeader('accept', 'application/json');
    request.setRequestHeader('content-type', 'application/octet-stream');
    for (const [name, value] of Object.entries(headersFor(method))) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => event.lengthComputable && told(event.loaded / event.total);
    request.onerror = () => reject(new ApiError(0, null, 'the gateway cannot be reached'));
    request.onload = () => {
      const answer = read(request.responseText);
      if (request.status >= 200 && request.status < 300) resolve(answer as T);
      else reject(refusal(request.status, answer as Problem | null));
    };
    request.send(file);
  });
}

function read(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** An answer that is no success, in the words of its problem. */
export function refusal(status: number, problem: Problem | null): ApiError {
  const words = problem?.detail ?? problem?.errors?.[0]?.detail ?? problem?.title ?? `the gateway answered ${status}`;
  return new ApiError(status, problem, words);
}

/** Why a file need not even be sent. */
export function unfit(file: { name: string; size: number }, most: number): string | null {
  if (file.size === 0) return `${file.name} is empty`;
  return file.size > most ? `${file.name} is longer than the ${Math.round(most / 1_024)} KB that the gateway takes` : null;
}
