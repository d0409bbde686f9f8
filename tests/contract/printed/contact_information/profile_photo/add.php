<?php

$curl = curl_init();

curl_setopt_array($curl, array(
  CURLOPT_URL => "https://r11qa.crm.com/crmapi/rest/v2/contact_information/profile_photo/add",
  CURLOPT_RETURNTRANSFER => true,
  CURLOPT_ENCODING => "",
  CURLOPT_MAXREDIRS => 10,
  CURLOPT_TIMEOUT => 30,
  CURLOPT_HTTP_VERSION => CURL_HTTP_VERSION_1_1,
  CURLOPT_CUSTOMREQUEST => "POST",
  CURLOPT_POSTFIELDS => "-----011000010111000001101001\r\nContent-Disposition: form-data; name=\"file\"; filename=\"[object Object]\"\r\nContent-Type: false\r\n\r\n\r\n-----011000010111000001101001\r\nContent-Disposition: form-data; name=\"contact_information_identifier\"\r\n\r\nid=18686813304341ECAFC8175A85594C9B\r\n-----011000010111000001101001\r\nContent-Disposition: form-data; name=\"token\"\r\n\r\nC9464BFEC45F49989AAB17E1C54FA4D0\r\n-----011000010111000001101001--",
  CURLOPT_HTTPHEADER => array(
    "content-type: multipart/form-data; boundary=---011000010111000001101001"
  ),
));

$response = curl_exec($curl);
$err = curl_error($curl);

curl_close($curl);

if ($err) {
  echo "cURL Error #:" . $err;
} else {
  echo $response;
} 
