// The words of rules and windows, by the names of the interface's description.

import type { components } from '../lib/generated/api';

export type AlertRule = components['schemas']['AlertRule'];
export type Matcher = components['schemas']['Matcher'];
export type NewWindow = components['schemas']['NewWindow'];
export type Rehearsal = components['schemas']['Rehearsal'];
export type Window = components['schemas']['Window'];
