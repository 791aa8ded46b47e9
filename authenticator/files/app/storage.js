// Accounts and settings, in IndexedDB. Keys are kept as CryptoKeys that can't be
// exported.

function open() {
	return new Promise((resolve, reject) => {
		const request = indexedDB.open("portcullis", 1);
		request.onupgradeneeded = () => {
			request.result.createObjectStore("accounts", { keyPath: "thumbprint" });
			request.result.createObjectStore("settings");
		};
		request.onsuccess = () => resolve(request.result);
		request.onerror = () => reject(request.error);
	});
}

async function use(store, mode, act) {
	const database = await open();
	try {
		const transaction = database.transaction(store, mode);
		const request = act(transaction.objectStore(store));
		return await new Promise((resolve, reject) => {
			transaction.oncomplete = () => resolve(request.result);
			transaction.onerror = () => reject(transaction.error);
			transaction.onabort = () => reject(transaction.error);
		});
	} finally {
		database.close();
	}
}

export async function accounts() {
	const all = await use("accounts", "readonly", (store) => store.getAll());
	return all.sort((a, b) => a.added - b.added);
}

export const keep = (account) => use("accounts", "readwrite", (store) => store.put(account));

// amend changes fields of an account that is kept, and leaves the others as they are by now:
// several things can be under way for one account. An account that was forgotten meanwhile
// stays so.
export function amend(account, fields) {
	Object.assign(account, fields);
	return use("accounts", "readwrite", (store) => {
		const kept = store.get(account.thumbprint);
		kept.onsuccess = () => kept.result && store.put({ ...kept.result, ...fields });
		return kept;
	});
}

export const forget = (account) => use("accounts", "readwrite", (store) => store.delete(account.thumbprint));
export const setting = (name) => use("settings", "readonly", (store) => store.get(name));
export const set = (name, value) => use("settings", "readwrite", (store) => store.put(value, name));
