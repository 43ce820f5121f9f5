// The words of roll-outs, by the names of the interface's description.

import type { components } from '../lib/generated/api';

export type Forecast = components['schemas']['Forecast'];
export type Group = components['schemas']['Group'];
export type NewRollout = components['schemas']['NewRollout'];
