// Puts times into the reader's own zone: short, with the exact one on hover.
// Without this script each is shown exactly, with its zone.

const page = document.documentElement.lang;
// Of the reader's own forms of the page's language, the most preferred.
const locale = navigator.languages.find((tag) => tag.split("-")[0] === page) ?? page;

const exact = new Intl.DateTimeFormat(locale, { dateStyle: "full", timeStyle: "long" });
const day = new Intl.DateTimeFormat(locale, { dateStyle: "medium" });
const hour = new Intl.DateTimeFormat(locale, { timeStyle: "short" });
const named = new Intl.RelativeTimeFormat(locale, { numeric: "auto" });

// midnight is of the day of the reader's calendar that a time falls on.
function midnight(time) {
	return new Date(time.getFullYear(), time.getMonth(), time.getDate());
}

// Days may have an hour more or less than 24.
function daysFromNow(time) {
	return Math.round((midnight(time) - midnight(new Date())) / (24 * 60 * 60 * 1000));
}

function short(time) {
	const days = daysFromNow(time);
	return Math.abs(days) > 1 ? day.format(time) : `${named.format(days, "day")} ${hour.format(time)}`;
}

for (const element of document.querySelectorAll("time[datetime]")) {
	const time = new Date(element.dateTime);
	element.title = exact.format(time);
	element.textContent = short(time);
}
