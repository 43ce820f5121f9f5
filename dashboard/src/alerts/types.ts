// The words of rules and windows, by the names of the interface's description.

import type { components } from '../lib/generated/api';

type Rule = components['schemas']['AlertRule'];
/** A rule as the gateway tells it: what a request may leave out is always there. */
export type AlertRule = Rule & Required<Pick<Rule, 'name' | 'enabled' | 'labels' | 'runbook' | 'hold_seconds' | 'recover_seconds' | 'fresh_seconds'>>;
export type Matcher = components['schemas']['Matcher'];
export type NewWindow = components['schemas']['NewWindow'];
export type Rehearsal = components['schemas']['Rehearsal'];
export type Window = components['schemas']['Window'];
