// Keeps the fragment of the address, in which single-page apps have their
// route, on the way through forms and links. Servers never see it, and browsers
// carry it only over redirects.

const { hash, origin } = location;

// keep adds the fragment to a link, unless that leads elsewhere, opens in another
// window or frame, or has a fragment.
function keep(link) {
	if (link.origin === origin && link.hash === "" && !link.hasAttribute("target")) {
		link.hash = hash;
	}
}

if (hash !== "") {
	document.querySelectorAll("a[href]").forEach(keep);
	for (const form of document.querySelectorAll("form[action]")) {
		const link = document.createElement("a");
		link.href = form.getAttribute("action");
		keep(link);
		form.setAttribute("action", link.href);
	}
}
