/** Loaded before a program (`node --import`): its clock on the wall is off by so much. Timers and the database's are right. */
export const SHIFT_VARIABLE = 'FAULT_CLOCK_SHIFT_MS'

const shiftMs = Number(process.env[SHIFT_VARIABLE] ?? 0)
const trueNow = Date.now

if (shiftMs !== 0) {
  globalThis.Date = new Proxy(Date, {
    construct: (real, args, made) =>
      // A new instance of Date, made with its own arguments or, without any, at this moment.
      Reflect.construct(real, args.length === 0 ? [trueNow() + shiftMs] : args, made) as Date,
  })
  Date.now = () => trueNow() + shiftMs
}
