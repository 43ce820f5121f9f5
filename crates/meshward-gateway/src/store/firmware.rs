//! Images, named by what they are: the SHA-256 of their bytes.

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::value::{Row, values};
use super::{Store, StoreError};

/// The longest image that is kept, in bytes.
pub const IMAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// An image without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirmwareRow {
    /// Its SHA-256, lower-case hexadecimal.
    pub sha256: String,
    /// What the file was called.
    pub name: String,
    /// Its length in bytes.
    pub size: u64,
    /// What its author signed, as it came.
    pub manifest: Option<Vec<u8>>,
    /// Whether somebody has said that the image takes updates itself.
    pub confirmed: bool,
    /// When it came.
    pub uploaded_at: Timestamp,
}

/// An image that comes.
#[derive(Clone, Copy, Debug)]
pub struct NewFirmware<'a> {
    /// What the file is called.
    pub name: &'a str,
    /// Its bytes.
    pub data: &'a [u8],
    /// What its author signed.
    pub manifest: Option<&'a [u8]>,
    /// Whether somebody has said that the image takes updates itself.
    pub confirmed: bool,
    /// When it comes.
    pub uploaded_at: Timestamp,
}

impl Store {
    /// Keeps an image; its SHA-256. What came with the same bytes before gets the new name and manifest.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] for more than [`IMAGE_BYTES_MAX`] bytes; another when the database cannot be
    /// written.
    pub async fn put_firmware(&self, new: &NewFirmware<'_>) -> Result<String, StoreError> {
        const DOING: &str = "keep an image";
        if new.data.len() > IMAGE_BYTES_MAX {
            let what = format!("it has {} bytes, and at most {IMAGE_BYTES_MAX} are kept", new.data.len());
            return Err(StoreError::damaged(DOING, what));
        }
        let sha256 = hex(&Sha256::digest(new.data));
        let mut transaction = self.database.begin(DOING).await?;
        let sql = "INSERT INTO firmware (sha256, name, size, manifest, confirmed, uploaded_at) \
                   VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (sha256) DO UPDATE SET name = excluded.name, \
                   manifest = excluded.manifest, confirmed = excluded.confirmed";
        let size = new.data.len() as u64;
        let manifest = new.manifest.map(<[u8]>::to_vec);
        let row = values![sha256.clone(), new.name, size, manifest, new.confirmed, new.uploaded_at];
        transaction.write(sql, row).await?;
        let sql =
            "INSERT INTO firmware_images (sha256, data) VALUES ($1, $2) ON CONFLICT (sha256) DO NOTHING";
        transaction.write(sql, values![sha256.clone(), new.data]).await?;
        transaction.commit().await?;
        Ok(sha256)
    }

    /// All images, the oldest first.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub async fn firmware(&self) -> Result<Vec<FirmwareRow>, StoreError> {
        let sql = "SELECT sha256, name, size, manifest, confirmed, uploaded_at FROM firmware \
                   ORDER BY uploaded_at, sha256";
        let rows = self.database.read("read the list of images", sql, Vec::new()).await?;
        rows.into_iter().map(read).collect()
    }

    /// The bytes of an image, compared with its name.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when they are not what they were; another when the database cannot be read.
    pub async fn firmware_image(&self, sha256: &str) -> Result<Option<Vec<u8>>, StoreError> {
        const DOING: &str = "read an image";
        let sql = "SELECT data FROM firmware_images WHERE sha256 = $1";
        let Some(mut row) = self.database.read_one(DOING, sql, values![sha256]).await? else {
            return Ok(None);
        };
        let data = row.blob()?;
        if hex(&Sha256::digest(&data)) != sha256 {
            return Err(StoreError::damaged(
                DOING,
                format!("the bytes of {sha256} are not the ones that came"),
            ));
        }
        Ok(Some(data))
    }

    /// Forgets an image; whether it was there.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn remove_firmware(&self, sha256: &str) -> Result<bool, StoreError> {
        let sql = "DELETE FROM firmware WHERE sha256 = $1";
        Ok(self.database.write("forget an image", sql, values![sha256]).await? > 0)
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read(mut row: Row) -> Result<FirmwareRow, StoreError> {
    Ok(FirmwareRow {
        sha256: row.text()?,
        name: row.text()?,
        size: row.u64()?,
        manifest: row.maybe_blob()?,
        confirmed: row.bool()?,
        uploaded_at: row.time()?,
    })
}
