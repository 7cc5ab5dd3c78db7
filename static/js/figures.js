// @ts-check
/** Figures as people read them. */

/**
 * @param {number} value
 * @param {number | null} decimals of the pair's prices; null when the exchange did not say
 */
export function priceText(value, decimals) {
  const places = decimals ?? (Math.abs(value) >= 1000 ? 2 : Math.abs(value) >= 1 ? 4 : 8);
  return value.toLocaleString("en-US", { minimumFractionDigits: places, maximumFractionDigits: places });
}
