import { readHistory } from '../../tables/history.ts'
import type { ReadPoints } from './history.ts'

/** The points of the charts, from what instances wrote down minute by minute. */
export const readPoints: ReadPoints = readHistory
