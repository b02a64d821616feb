import { fillIdentifiers, loadStatements } from '../db/statements.ts'

/** How many messages without a key a claim takes, and when. */
interface Keyless extends Record<string, string> {
  readonly keyless: string
  readonly keyless_turn: string
}

/** The statements of the file, put together: the ways to claim, each by turn and in order. */
export function slotStatements() {
  const parts = load()
  const { bytes, reached, first_lined } = parts
  const took = (claimed_ahead: string): string => fillIdentifiers(parts.took, { claimed_ahead })
  const keylessSuspect = { keyless: parts.keyless_suspect, keyless_turn: '0::bigint' }
  const common = (ordered: boolean, trusted: string) => ({
    default: fillIdentifiers(parts.default, { in_order: String(ordered), and_trusted: trusted }),
    most: ordered ? parts.most_in_order : parts.most,
    slots: ordered ? parts.slots_in_order : parts.slots,
  })
  const byKey = (
    text: string,
    ordered: boolean,
    low: string,
    claimedAhead: string,
    keyless: Keyless,
    more: Record<string, string>,
  ): string => {
    const pick = ordered
      ? fillIdentifiers(parts.pick_in_order, { bytes, reached })
      : fillIdentifiers(parts.pick, { bytes })
    return fillIdentifiers(text, {
      ...common(ordered, ordered ? ` AND coalesce(${low}::bigint >= l.by_number_above, true)` : ''),
      ahead: ordered ? fillIdentifiers(parts.ahead, { low, first_lined }) + '\n' : '',
      not_ahead: ordered ? ' ' + parts.not_ahead : '',
      in_use: parts.in_use,
      take: fillIdentifiers(parts.take, { bytes, pick, took: took(claimedAhead), ...keyless }),
      ...more,
    })
  }
  const walking = (ordered: boolean): string =>
    byKey(
      parts.claim,
      ordered,
      '$11',
      ordered ? '$12::boolean' : '$11::boolean',
      { keyless: parts.keyless, keyless_turn: parts.keyless_turn },
      {
        first_may: ordered
          ? fillIdentifiers(parts.first_may_in_order, { first_may: parts.first_may, reached })
          : parts.first_may,
        order: ordered ? parts.in_order : parts.by_turn,
        due: ordered ? parts.due_in_order : parts.due,
      },
    )
  const byNumber = (ordered: boolean): string =>
    fillIdentifiers(parts.claim_by_number, {
      ...common(ordered, ordered ? ' AND $6::bigint >= l.by_number_above' : ''),
      bytes,
      took: took('$10::boolean'),
      ids_of_key: ordered ? parts.first_of_key : parts.ids_of_key,
      slots_of_keys: ordered ? parts.slots_of_keys_in_order : parts.slots_of_keys,
      new_of_keys: ordered ? parts.new_of_keys_in_order : parts.new_of_keys,
      is_first: ordered ? fillIdentifiers(parts.is_first, { first_lined }) : 'true',
    })
  const { enter_default, trust_numbers, by_number_above, enter_keys, line_up, suspect_keys } = parts
  return {
    enter_default,
    trust_numbers,
    by_number_above,
    enter_keys,
    line_up,
    suspect_keys,
    claim: walking(false),
    claim_in_order: walking(true),
    claim_by_number: byNumber(false),
    claim_by_number_in_order: byNumber(true),
    claim_suspect: byKey(parts.claim_suspect, false, '', 'false', keylessSuspect, {}),
    claim_suspect_in_order: byKey(parts.claim_suspect, true, '$8', 'false', keylessSuspect, {}),
  }
}

function load() {
  return loadStatements('slots', [
    'enter_default',
    'trust_numbers',
    'by_number_above',
    'enter_keys',
    'line_up',
    'claim',
    'claim_by_number',
    'ids_of_key',
    'first_of_key',
    'slots_of_keys',
    'slots_of_keys_in_order',
    'new_of_keys',
    'new_of_keys_in_order',
    'is_first',
    'claim_suspect',
    'default',
    'first_may',
    'first_may_in_order',
    'ahead',
    'not_ahead',
    'reached',
    'first_lined',
    'by_turn',
    'in_order',
    'due',
    'due_in_order',
    'most',
    'most_in_order',
    'in_use',
    'take',
    'took',
    'slots',
    'slots_in_order',
    'keyless',
    'keyless_suspect',
    'keyless_turn',
    'bytes',
    'pick',
    'pick_in_order',
    'suspect_keys',
  ])
}
