// The words of rules and windows, by the names of the interface's description.

import type { components } from '../lib/generated/api';

type RuleSent = components['schemas']['AlertRule'];
/** A rule as it is answered: all of it is there but what is of another kind of rule. Only who writes one may leave more out. */
export type AlertRule = RuleSent & Required<Omit<RuleSent, 'clear' | 'raise' | 'schedule' | 'side' | 'signal' | 'state'>>;
export type Matcher = components['schemas']['Matcher'];
export type NewWindow = components['schemas']['NewWindow'];
export type Rehearsal = components['schemas']['Rehearsal'];
export type Window = components['schemas']['Window'];
