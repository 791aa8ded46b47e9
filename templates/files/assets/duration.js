// Puts seconds into words of the page's language, as "4 minutes 30 seconds" or,
// in the short style, "4 min 30 sec".

export function duration(seconds, style) {
	const parts = [
		[Math.floor(seconds / 60), "minute"],
		[seconds % 60, "second"],
	].filter(([count]) => count > 0);
	return parts.map(([count, unit]) => {
		const format = new Intl.NumberFormat(document.documentElement.lang, { style: "unit", unit, unitDisplay: style });
		return format.format(count);
	}).join(" ");
}
