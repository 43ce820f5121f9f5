// The words of the REST interface, by the names that its description gives them.

import type { components } from './generated/api';

type Schemas = components['schemas'];

export type Node = Schemas['Node'];
export type NodeState = Schemas['NodeState'];
export type Metric = Schemas['Metric'];
export type Fact = Schemas['Fact'];
export type Score = Schemas['Score'];
export type Deduction = Schemas['Deduction'];
export type Alert = Schemas['Alert'];
export type Rollout = Schemas['Rollout'];
export type RolloutNode = Schemas['RolloutNode'];
export type Status = Schemas['Status'];
export type Overhead = Schemas['Overhead'];
export type Incident = Schemas['Incident'];
export type MeshEvent = Schemas['Event'];
export type Events = Schemas['Events'];
export type Session = Schemas['Session'];
export type User = Schemas['User'];
export type Token = Schemas['Token'];
export type Role = Schemas['Role'];
export type Problem = Schemas['Problem'];
export type History = Schemas['History'];
export type Point = Schemas['Point'];
export type Firmware = Schemas['Firmware'];
export type QueryAnswer = Schemas['QueryAnswer'];
export type QueryProgress = Schemas['QueryProgress'];
export type CommandOutcome = Schemas['CommandOutcome'];
export type Label = Schemas['Label'];
export type Snapshot = Schemas['Snapshot'];
